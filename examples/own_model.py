"""A model of your own, in one file.

    python own_model.py

or, from the folder of this file, like every other model:

    mmssl train --model own_model:Taste --dataset demo --popularity 0.5
    mmssl --import own_model:Taste recommend latest --user user-0007
"""

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import normalize

import mmssl_cli as mmssl
from mmssl_cli.config import FittedSettings
from mmssl_cli.data.interactions import InteractionData
from mmssl_cli.models.base import Recommender
from mmssl_cli.sparse.csr import CSR


class TasteSettings(FittedSettings):
    """Taste. Items whose pictures and texts are like those of the user's items."""

    needs_content = True  # of every data set the model gets the features, and refuses one without any

    # Each field is a flag, here --popularity, checked against its bounds.
    popularity: float = Field(0.1, ge=0, description="Weight of an item's popularity beside its content.")


class Taste(Recommender):
    """A user is the sum of the contents of their items."""

    settings: TasteSettings  # names the class of the settings

    def __init__(self, data: InteractionData, settings: TasteSettings) -> None:
        super().__init__(data, settings)
        self.history = data.train  # the items of each user, in compressed sparse rows

    def fit(self, data: InteractionData) -> None:
        """Compute the model. Tensors that are set as attributes are saved with the run."""
        # The features of each modality, [items, dimensions], around their mean and of equal weight.
        contents = [normalize(values.float() - values.float().mean(0)) for values in data.features.values()]
        self.content = torch.cat(contents, dim=1)
        counts = torch.bincount(data.train.indices, minlength=self.num_items).float()
        self.popular = counts / counts.max()

    def score(self, users: Tensor) -> Tensor:
        """Return the scores of all items for n users, [n, items]; the program ranks them."""
        return self.score_from_items(self.history.select(users))

    def score_from_items(self, items: CSR) -> Tensor:
        """The same for users who are not in the data, from their items. Only similar items and new users need it."""
        has = torch.zeros(items.num_rows, self.num_items, device=items.indices.device)
        has[items.row_of_each(), items.indices] = 1
        taste = normalize(has @ self.content)
        return taste @ self.content.T + self.settings.popularity * self.popular


if __name__ == "__main__":
    data = mmssl.load_dataset("demo")
    run = mmssl.train("own_model:Taste", data, popularity=0.5)  # the name of this file, and of the class
    print({name: round(value, 4) for name, value in run.test.items()})
    print(run.recommend("user-0007", k=5))
    print(run.similar_items("item-0003", k=5))
    print(mmssl.compare(data, ["own_model:Taste", "itemknn", "pop"], ks=(20,))[["model", "recall@20", "ndcg@20"]])
