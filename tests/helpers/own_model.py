"""The beginning of a model of one's own, for tests to complete."""

HEAD = "import torch\nfrom torch import nn\nfrom mmssl_cli.models.base import Recommender\nclass M(Recommender):\n"
EMBEDDINGS = HEAD.replace("Recommender", "EmbeddingRecommender")
