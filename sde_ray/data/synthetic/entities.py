"""Sentences of laboratory prose with nested entity mentions: the bundled set `nested_ner`.

    sentence(random) -> Marked("the GAT-3 promoter was silent in T cells.",
                               {"DNA": ("GAT-3 promoter",), "protein": ("GAT-3",), "cell_type": ("T cells",)})

A gene, promoter or transcript often holds a protein's name (nesting); names are made up; drugs, doses and general words
("the complex", "these cells") are distractors that look like mentions; roughly one sentence in eight has none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

TYPES = ("DNA", "RNA", "protein", "cell_type", "cell_line")

_STEMS = "GAT IL TRF STA NFK CRE MYB TNF JUN RUN PAX BCL ETS IRF CD HOX KLF SPI MAF REL".split()
_CELLS = ("T cells", "B cells", "monocytes", "macrophages", "lymphocytes", "neutrophils", "eosinophils", "thymocytes",
          "platelets", "fibroblasts", "naive T cells", "activated B cells", "primary monocytes")  # fmt: skip
_LINES = "HL JUR U K RAJ THP HEL DAM".split()
_DRUGS = ("dexamethasone", "aspirin", "cyclosporin", "a low dose of the drug", "heparin", "retinoic acid")
_VAGUE = ("these cells", "the complex", "this pathway", "the response", "the samples", "both donors")

_TEMPLATES = (
    "the {dna} was silent in {cell}.",
    "{protein} binds to the {dna} in {cell}.",
    "{protein} and {protein2} act together on the {dna}.",
    "we measured {rna} in {line} after {drug}.",
    "{rna} was found in {cell} but not in {line}.",
    "{line} do not express {protein}.",
    "treatment with {drug} raised the level of {protein} in {cell}.",
    "{cell} from both donors were treated with {drug}.",
    "expression of the {dna} depends on {protein}.",
    "neither {protein} nor {protein2} was seen in {line}.",
    "in {line}, {rna} decays within hours.",
    "a mutant of {protein} fails to reach the {dna}.",
    "{cell} and {cell2} differ in {rna}.",
    "{vague} suggest that {protein} is needed for {cell} to survive.",
)
_WITHOUT = (
    "{drug} had no effect on {vague}.",
    "{vague} were kept on ice until use.",
    "the dose of {drug} was doubled after a week.",
    "{vague} came from a biobank and were tested twice.",
    "no change was seen with {drug}.",
)


@dataclass(frozen=True)
class Marked:
    """A sentence with its mentions by type, in the order of the text."""

    text: str
    mentions: Mapping[str, tuple[str, ...]]


def _protein(random: Random) -> str:
    stem = random.choice(_STEMS)
    return f"{stem}-{random.randint(1, 29)}" if random.random() < 0.7 else f"{stem} {random.choice(('alpha', 'beta'))}"


def _filled(random: Random) -> dict[str, tuple[str, list[tuple[str, str]]]]:
    """For every field its words and the mentions in them."""
    inner, other, third = _protein(random), _protein(random), _protein(random)
    dna = f"{inner} {random.choice(('promoter', 'gene', 'enhancer', 'binding site'))}"
    rna = f"{third} {random.choice(('mRNA', 'transcripts'))}"
    line = f"{random.choice(_LINES)}-{random.randint(2, 99)} cells"
    protein = other
    protein2 = _protein(random)
    cell, cell2 = random.sample(_CELLS, 2)
    return {
        "dna": (dna, [("DNA", dna), ("protein", inner)]),
        "rna": (rna, [("RNA", rna), ("protein", third)]),
        "protein": (protein, [("protein", protein)]),
        "protein2": (protein2, [("protein", protein2)]),
        "cell": (cell, [("cell_type", cell)]),
        "cell2": (cell2, [("cell_type", cell2)]),
        "line": (line, [("cell_line", line)]),
        "drug": (random.choice(_DRUGS), []),
        "vague": (random.choice(_VAGUE), []),
    }


def sentence(random: Random) -> Marked:
    """A sentence and its mentions; a mention that occurs twice is listed once a place."""
    template = random.choice(_WITHOUT if random.random() < 0.12 else _TEMPLATES)
    fields = _filled(random)
    used = sorted((f for f in fields if "{" + f + "}" in template), key=lambda f: template.index("{" + f + "}"))
    mentions: dict[str, tuple[str, ...]] = {}
    for field in used:
        for kind, words in fields[field][1]:
            mentions[kind] = (*mentions.get(kind, ()), words)
    ordered = {kind: mentions[kind] for kind in TYPES if kind in mentions}
    return Marked(template.format(**{f: words for f, (words, _) in fields.items()}), ordered)
