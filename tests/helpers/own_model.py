"""The beginning of a model of one's own, for tests to complete."""

HEAD = "import torch\nfrom torch import nn\nfrom mmssl_cli.models.base import Recommender\nclass M(Recommender):\n"
EMBEDDINGS = HEAD.replace("Recommender", "EmbeddingRecommender")
FITTED = HEAD + (
    "    def fit(self, data):\n"
    "        self.popular = torch.bincount(data.train.indices, minlength=self.num_items).float()\n"
    "    def score(self, users):\n"
    "        popular = self.popular\n"
    "        return (popular).expand(len(users), -1).clone()\n"
)
