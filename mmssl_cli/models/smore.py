"""SMORE (Ong and Khong, Spectrum-based Modality Representation Fusion Graph Convolutional Network for Multimodal
Recommendation, WSDM 2025)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmssl_cli.config.item_graphs import SMORESettings
from mmssl_cli.data.graph import Edges, ItemGraph
from mmssl_cli.data.interactions import InteractionData
from mmssl_cli.models.content import ContentProjections, content_graphs, sigmoid_gate
from mmssl_cli.models.dropout import dropout
from mmssl_cli.models.side_views import SideViewRecommender


class SMORE(SideViewRecommender):
    """Behaviour by LightGCN plus views of each modality and of all fused, filtered in the spectrum of the content.

    The whole of the paper: projected content goes through a Fourier transform along its dimensions, where a learnt
    filter denoises each modality and another the product of all, the fused view; each gates the items' embeddings,
    which spread over the graph of the modality, the fused ones over the greatest weights of all graphs. As in the
    authors' program (MMRec), attention of the fused view is a softmax over dimensions, the L2 term is of the final
    embeddings (``l2_on``), the contrast is over every triple (``contrast_rows``), raw features are trained
    (``train_features``), and all linear layers begin as PyTorch initialises them. ``graph_topk`` is of all modalities.
    """

    cold_items = "content"
    settings: SMORESettings

    def __init__(self, data: InteractionData, settings: SMORESettings) -> None:
        super().__init__(data, settings)
        d, names = settings.embedding_dim, list(data.features)
        self.content = ContentProjections(data, d, None, settings.train_features)
        edges = content_graphs(data, settings.graph_topk)
        self.item_graphs = [ItemGraph.from_edges(*edges[name], data.num_items) for name in names]
        self.item_graphs.append(
            ItemGraph.from_edges(*largest_edges(list(edges.values()), data.num_items), data.num_items)
        )
        self.spectrum = SpectralFusion(len(names), d)
        self.gates = nn.ModuleList(sigmoid_gate(d) for _ in self.item_graphs)
        self.fuser = PreferenceFuser(len(names), d, settings.preference_dropout)

    def _item_views(self) -> list[Tensor]:
        """Return the views of each modality and the fused one."""
        filtered = self.spectrum(list(self.content().values()))
        return [
            graph.propagate(self.items * gate(rows), self.settings.item_layers)
            for graph, gate, rows in zip(self.item_graphs, self.gates, filtered, strict=True)
        ]


class SpectralFusion(nn.Module):
    """A learnt filter of each modality's spectrum, and one of the product of all spectra."""

    def __init__(self, modalities: int, dim: int) -> None:
        super().__init__()
        #: Real and imaginary parts of the filters [M + 1, d // 2 + 1, 2], the fused view's last.
        self.filters = nn.Parameter(torch.randn(modalities + 1, dim // 2 + 1, 2))

    def forward(self, content: list[Tensor]) -> list[Tensor]:
        """Return filtered content [I, d] of each modality, and the fused one, from content [I, d] of each."""
        spectra = [torch.fft.rfft(rows.float(), dim=1, norm="ortho") for rows in content]
        fused = spectra[0]
        for spectrum in spectra[1:]:
            fused = fused * spectrum
        filters, dim = torch.view_as_complex(self.filters), content[0].shape[1]
        return [
            torch.fft.irfft(spectrum * of, n=dim, dim=1, norm="ortho")
            for spectrum, of in zip([*spectra, fused], filters, strict=True)
        ]


class PreferenceFuser(nn.Module):
    """The mean of the views, those of modalities attended to by the fused one, each gated by behaviour."""

    def __init__(self, modalities: int, dim: int, share: float) -> None:
        super().__init__()
        self.share = share
        self.queries = nn.ModuleList(
            nn.Sequential(nn.Linear(dim, dim), nn.Tanh(), nn.Linear(dim, dim, bias=False)) for _ in range(modalities)
        )
        self.preferences = nn.ModuleList(sigmoid_gate(dim) for _ in range(modalities + 1))

    def forward(self, behaviour: Tensor, views: Tensor) -> Tensor:
        """Return side embeddings [n, d] of nodes from their behaviour [n, d] and views [M + 1, n, d]."""
        fused = views[-1]
        parts = [query(fused).softmax(dim=1) * view for query, view in zip(self.queries, views[:-1], strict=True)]
        parts.append(fused)
        gates = [dropout(preference(behaviour), self.share, self.training) for preference in self.preferences]
        return torch.stack([gate * part for gate, part in zip(gates, parts, strict=True)]).mean(dim=0)


def largest_edges(parts: list[Edges], num_items: int) -> Edges:
    """Return the union of graphs' edges, each once with the largest of its weights."""
    rows, columns, weights = (torch.cat(of) for of in zip(*parts, strict=True))
    keys, inverse = torch.unique(rows * num_items + columns, return_inverse=True)
    largest = weights.new_zeros(len(keys)).scatter_reduce(0, inverse, weights, "amax")
    return keys // num_items, keys % num_items, largest
