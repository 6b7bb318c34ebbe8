"""The categories of the Amazon product data and the addresses of their files.

    2014    https://jmcauley.ucsd.edu/data/amazon/index_2014.html: 5-core reviews, metadata, image features
    2018    https://nijianmo.github.io/amazon/: 5-core reviews, metadata
    2023    https://amazon-reviews-2023.github.io/: 5-core ratings, reviews where there are none; metadata

A data set of each is known by name, such as ``amazon-2018-musical-instruments``.
"""

from __future__ import annotations

from pipelines.entries import DatasetEntry, FeatureEntry, FileEntry
from pipelines.errors import UsageError, nearest

_NAMES = {
    "2014": """
        Amazon_Instant_Video Apps_for_Android Automotive Baby Beauty Books CDs_and_Vinyl Cell_Phones_and_Accessories
        Clothing_Shoes_and_Jewelry Digital_Music Electronics Grocery_and_Gourmet_Food Health_and_Personal_Care
        Home_and_Kitchen Kindle_Store Movies_and_TV Musical_Instruments Office_Products Patio_Lawn_and_Garden
        Pet_Supplies Sports_and_Outdoors Tools_and_Home_Improvement Toys_and_Games Video_Games
    """,
    "2018": """
        AMAZON_FASHION All_Beauty Appliances Arts_Crafts_and_Sewing Automotive Books CDs_and_Vinyl
        Cell_Phones_and_Accessories Clothing_Shoes_and_Jewelry Digital_Music Electronics Gift_Cards
        Grocery_and_Gourmet_Food Home_and_Kitchen Industrial_and_Scientific Kindle_Store Luxury_Beauty
        Magazine_Subscriptions Movies_and_TV Musical_Instruments Office_Products Patio_Lawn_and_Garden Pet_Supplies
        Prime_Pantry Software Sports_and_Outdoors Tools_and_Home_Improvement Toys_and_Games Video_Games
    """,
    "2023": """
        All_Beauty Amazon_Fashion Appliances Arts_Crafts_and_Sewing Automotive Baby_Products Beauty_and_Personal_Care
        Books CDs_and_Vinyl Cell_Phones_and_Accessories Clothing_Shoes_and_Jewelry Digital_Music Electronics
        Gift_Cards Grocery_and_Gourmet_Food Handmade_Products Health_and_Household Health_and_Personal_Care
        Home_and_Kitchen Industrial_and_Scientific Kindle_Store Magazine_Subscriptions Movies_and_TV
        Musical_Instruments Office_Products Patio_Lawn_and_Garden Pet_Supplies Software Sports_and_Outdoors
        Subscription_Boxes Tools_and_Home_Improvement Toys_and_Games Unknown Video_Games
    """,
}
CATEGORIES = {release: tuple(names.split()) for release, names in _NAMES.items()}
"""Release -> its categories."""

_WITHOUT_5_CORE = {
    "Amazon_Fashion",
    "Appliances",
    "Digital_Music",
    "Handmade_Products",
    "Health_and_Personal_Care",
    "Subscription_Boxes",
}
"""Categories of 2023 with too few repeated customers."""

MIRRORS = {
    "2014": (
        "https://snap.stanford.edu/data/amazon/productGraph",
        "https://mcauleylab.ucsd.edu/public_datasets/data/amazon",
    ),
    "2018": (
        "https://mcauleylab.ucsd.edu/public_datasets/data/amazon_v2",
        "https://jmcauley.ucsd.edu/data/amazon_v2",
        "https://datarepo.eng.ucsd.edu/mcauley_group/data/amazon_v2",
    ),
    "2023": (
        "https://mcauleylab.ucsd.edu/public_datasets/data/amazon_2023",
        "https://datarepo.eng.ucsd.edu/mcauley_group/data/amazon_2023",
    ),
}
"""Release -> the addresses at which its files begin; the first has all of them."""


def known_names() -> list[str]:
    """Return the name of the data set of each category of each release."""
    return [_name(release, category) for release, categories in CATEGORIES.items() for category in categories]


def data_set_name(release: str | None, category: str | None) -> str:
    """Return the name of the data set of a category, such as ``amazon-2018-all-beauty``; see :func:`entry_of`."""
    entry_of(release, category)
    return _name(str(release), str(category))


def entry_by_name(name: str) -> DatasetEntry | None:
    """Return the entry of one of :func:`known_names`; None for another name."""
    found = {
        _name(release, category): (release, category) for release in CATEGORIES for category in CATEGORIES[release]
    }
    return entry_of(*found[name]) if name in found else None


def entry_of(release: str | None, category: str | None) -> DatasetEntry:
    """Return the entry of a category, as datasets.toml might have it.

    Args:
        category: its name; case, and ``_``, ``-`` or spaces between its words, do not count.

    Raises:
        UsageError: one of both is missing, or the release has no such category.
    """
    if release is None or category is None:
        raise UsageError(
            "A data set of Amazon is a release and a category: give --release 2014, 2018 or 2023, and --category NAME; "
            "`mmssl datasets --available` lists the categories."
        )
    name = next((known for known in CATEGORIES[release] if _slug(known) == _slug(category)), None)
    if name is None:
        raise UsageError(
            f"The Amazon data of {release} have no category {category!r}: "
            f"{nearest(category.strip().replace(' ', '_').title(), CATEGORIES[release])}"
        )
    return DatasetEntry(
        title=f"Amazon {name.replace('_', ' ')} ({release})",
        source="amazon",
        files=_files(release, name),
        features={
            "visual": FeatureEntry(input="image", encoder="published" if release == "2014" else None),
            "textual": FeatureEntry(input="text"),
        },
    )


def _name(release: str, category: str) -> str:
    return f"amazon-{release}-{_slug(category)}"


def _slug(category: str) -> str:
    return category.strip().lower().replace("_", "-").replace(" ", "-")


def _files(release: str, name: str) -> dict[str, FileEntry]:
    """Role -> file of a category."""
    paths = {
        "2014": {
            "reviews": f"categoryFiles/reviews_{name}_5.json.gz",
            "metadata": f"categoryFiles/meta_{name}.json.gz",
            "image-features": f"image_features/categoryFiles/image_features_{name}.b",
        },
        "2018": {
            "reviews": f"categoryFilesSmall/{name}_5.json.gz",
            "metadata": f"metaFiles2/meta_{name}.json.gz",
        },
        "2023": {
            "reviews": f"raw/review_categories/{name}.jsonl.gz"
            if name in _WITHOUT_5_CORE
            else f"benchmark/5core/rating_only/{name}.csv.gz",
            "metadata": f"raw/meta_categories/meta_{name}.jsonl.gz",
        },
    }
    return {
        role: FileEntry(
            name=path.rpartition("/")[2],
            kind="gzip" if path.endswith(".gz") else "binary",
            urls=tuple(f"{mirror}/{path}" for mirror in MIRRORS[release][: 1 if role == "image-features" else None]),
        )
        for role, path in paths[release].items()
    }
