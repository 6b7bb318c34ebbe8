"""Prepare data of your own, with texts and pictures, and train on it.

    python own_data.py

The first half invents a shop: clicks.csv, items.csv and a folder of photos, all in the folder shop/. With files of your
own you need the second half alone.
"""

import csv
import random
from pathlib import Path

from PIL import Image

import mmssl_cli as mmssl

random.seed(1)
shop = Path("shop")
(shop / "photos").mkdir(parents=True, exist_ok=True)
colours = {"red": (200, 40, 40), "green": (40, 160, 60), "blue": (40, 60, 200), "yellow": (230, 200, 40)}
things = ["lamp", "chair", "vase", "rug"]
names = [(colour, thing) for colour in colours for thing in things] * 5  # 80 items

with (shop / "items.csv").open("w", newline="") as file:
    table = csv.writer(file)
    table.writerow(["product", "title", "photo"])
    for number, (colour, thing) in enumerate(names):
        table.writerow([f"p{number}", f"{colour} {thing} number {number}", f"{number}.png"])
        Image.new("RGB", (32, 32), colours[colour]).save(shop / "photos" / f"{number}.png")

with (shop / "clicks.csv").open("w", newline="") as file:
    table = csv.writer(file)
    table.writerow(["customer", "product"])
    for customer in range(150):  # each likes one colour, and clicks on other things now and then
        colour = random.choice(list(colours))
        liked = [number for number, (found, _) in enumerate(names) if found == colour]
        clicked = {*random.sample(liked, 9), *random.sample(range(len(names)), 2)}
        table.writerows([f"c{customer}", f"p{number}"] for number in clicked)

# Your data: interactions, a table of the items, the columns of texts and pictures, and the folder of the pictures.
# The columns of users and items are found by their usual names (user_column="..." names others). These two encoders
# are quick and need no download; without them, large networks encode texts and pictures.
data = mmssl.prepare(
    "shop",
    interactions=shop / "clicks.csv",
    items=shop / "items.csv",
    text=["title"],
    image_column="photo",
    images=shop / "photos",
    text_encoder="tfidf",
    image_encoder="pixels",
    k_core=3,  # only users and items with three interactions or more
)
print(f"{data.num_users} users, {data.num_items} items, features {data.modalities}")

# A model of the pictures and texts beside one of the clicks alone: the best on the validation items comes first.
print(mmssl.compare(data, ["vbpr", "mf"], epochs=10, ks=(20,))[["model", "recall@20", "ndcg@20"]])

run = mmssl.train("vbpr", data, epochs=10, ks=(20,), reuse=True)  # the run that compare has trained
print(run.recommend("c0", k=5))
