"""Train a model, take its vectors out, and ask it for recommendations.

    python first_steps.py

It writes data/ and runs/ into the current folder and needs no network.
"""

import numpy as np

import mmssl_cli as mmssl

# The data set `demo` is a small shop, generated when it is first used. Users and items are numbered from 0; what you
# give and what you get back are the ids of the data, such as user-0007 and item-0003.
data = mmssl.load_dataset("demo")
print(f"{data.name}: {data.num_users} users, {data.num_items} items, features {data.modalities}")

# Settings are the flags of `mmssl train`; three epochs are too few for good recommendations and take seconds.
# With reuse, the second call of this script finds the run of the first and trains nothing.
run = mmssl.train("mmssl", data, epochs=3, reuse=True)
print(f"{run.id}: Recall@20 is {run.test['recall@20']:.4f} on the test items")

# The final embeddings, a row an id. Their inner product is the score of an item for a user.
users, items = run.embeddings()
print(f"embeddings of users {users.values.shape} and of items {items.values.shape}")

# The items nearest to one by the cosine, by hand ...
directions = items.values / np.linalg.norm(items.values, axis=1, keepdims=True)
cosines = directions @ directions[items.ids.index("item-0003")]
print("nearest to item-0003:", [items.ids[row] for row in np.argsort(-cosines)[1:6]])
# ... and by the method, which returns a pandas DataFrame as all that follow do.
print(run.similar_items("item-0003", k=5))

# Recommendations: for a user of the data, among a few candidates, and for somebody new who liked two items.
print(run.recommend("user-0007", k=5))
print(run.recommend("user-0007", candidates=["item-0001", "item-0011", "item-0021"]))
print(run.recommend_for(items=["item-0003", "item-0009"], k=5))

# How good it is: the mean over the users, and the values of each user.
found = mmssl.evaluate(run, data, ks=(10, 20))
print({name: round(value, 4) for name, value in found.items()})
print(found.per_user.head())
