"""The record of `mmssl analyze` on a run, kept as analysis.json in its folder."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from mmssl_cli.runs.folder import MODEL, RunFolder
from pipelines.errors import InputError
from pipelines.io.files import read_problem, sha256_of, write_json
from pipelines.io.parsing import parse_json

ANALYSIS = "analysis.json"
#: Source of a transferability: the trained model, the same model before training, or random directions.
Kind = Literal["trained", "untrained", "random"]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Bin(_Record):
    """Negatives in one bin of the cosine: their number, and geometric mean and deviation of their norms."""

    similarity: float = Field(ge=-1, le=1)
    count: int = Field(ge=1)
    norm: float = Field(gt=0)
    deviation: float = Field(ge=1)


class Negatives(_Record):
    """Gradient norms of the negatives in one modality's contrast (Eq. 20).

    Attributes:
        anchors, negatives: numbers measured; negatives of all anchors together.
        scale: factor on phi (Eq. 21) that fits all norms, the geometric mean of norm / phi.
        hardest: fraction of the most similar negatives of an anchor -> their share of its summed norms.
        beyond_peak: share of the negatives with a cosine above the maximum of phi.
        equal: share of the negatives in the anchor's own direction, which have no gradient and are in no bin.
    """

    anchors: int = Field(ge=1)
    negatives: int = Field(ge=1)
    mean_similarity: float
    scale: float = Field(gt=0)
    hardest: dict[str, float]
    beyond_peak: float
    equal: float
    bins: tuple[Bin, ...] = Field(min_length=1)


class Transfer(_Record):
    """Eq. 24, 25 and 16 for one modality, over the sampled users; rho_1 as mean and sample deviation.

    ``bound`` is (1 - rho_1 rho_2) L^2 of Eq. 16, None in records of earlier versions.
    """

    users: int = Field(ge=2)
    rho_1: float = Field(ge=0, le=1)
    rho_1_deviation: float = Field(ge=0)
    rho_2: float = Field(ge=0, le=1)
    share: float = Field(ge=0, le=1)
    bound: float | None = Field(None, ge=0)


class Part(_Record):
    """A term of A.3 with its multiplications in a step: as printed, and as implemented here."""

    name: str
    formula: str
    printed: int
    own: int


class CostPoint(_Record):
    """Cost at one size of the data: seconds of the fastest and the median step, and of a refresh of the modality
    graphs (Eq. 8; None without modalities).
    """

    fraction: float
    users: int
    items: int
    interactions: int
    batch: int
    steps: int
    seconds: float = Field(gt=0)
    median: float = Field(gt=0)
    refresh_seconds: float | None = Field(gt=0)
    peak_memory_bytes: int
    parts: tuple[Part, ...]


class Cost(_Record):
    """Cost against size on one device."""

    device: str
    timed_steps: int
    points: tuple[CostPoint, ...]


class Analysis(_Record):
    """All measurements of one run.

    Attributes:
        model_sha256: digest of the analysed weights.
        label: model and variant.
        users: size of the sample.
        temperature: tau' of the contrast (Eq. 11).
        negatives: modality -> gradients of its contrast.
        transfer: modality -> ``trained``, ``untrained``, ``random`` -> the measures.
        left_out: sentences on measurements that the model does not allow.
    """

    format: Literal[1] = 1
    run: str
    model_sha256: str
    label: str
    dataset: str
    seed: int
    users: int
    temperature: float = Field(gt=0)
    negatives: dict[str, Negatives]
    transfer: dict[str, dict[Kind, Transfer]]
    cost: Cost | None
    left_out: tuple[str, ...]


def write_analysis(run: RunFolder, analysis: Analysis) -> None:
    """Write analysis.json of a run.

    Raises:
        InputError: it cannot be written.
    """
    write_json(run.path / ANALYSIS, analysis.model_dump(mode="json"))


def read_analysis(run: RunFolder) -> Analysis | None:
    """Read analysis.json of a run; None without one.

    Raises:
        InputError: the file is damaged, of another version, or about other weights than the run has now.
    """
    path = run.path / ANALYSIS
    again = f"`mmssl analyze {run.id}` makes it again"
    try:
        found = Analysis.model_validate(parse_json(path.read_bytes()))
        digest = sha256_of(run.path / MODEL)
    except FileNotFoundError:
        return None
    except OSError as problem:
        raise read_problem(path, problem) from problem
    except ValueError as problem:
        raise InputError(f"{path} is damaged or of another version; {again}.") from problem
    if found.model_sha256 != digest:
        raise InputError(f"{path} is about earlier weights of the run; {again}.")
    return found
