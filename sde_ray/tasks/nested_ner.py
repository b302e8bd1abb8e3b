"""Nested named entities of biomedical sentences, GENIA's five types (paper section 1.6).

    IL-2 gene expression   ->   {"DNA": ("IL-2 gene",), "protein": ("IL-2",)}
Bundled data are made by this package; the user's own are read in GENIA's JSON lines or as JSONL.
"""

from __future__ import annotations

from sde_ray.tasks.bundled import bundled
from sde_ray.types import PromptNouns, Task

SLOTS = ("DNA", "RNA", "protein", "cell_type", "cell_line")
DEFINITIONS = {
    "DNA": "A gene, a promoter, a binding site or another piece of DNA. Not the protein that it codes for.",
    "RNA": "A transcript, such as an mRNA. Not the gene that it is read from.",
    "protein": "A protein, a family or a complex of them, such as a receptor or a transcription factor.",
    "cell_type": "A kind of cell as it is found in a body, such as T cells.",
    "cell_line": "Cells that are kept in culture, such as Jurkat or HeLa cells.",
}
METRICS = ("f1", "precision", "recall", "f1_soft", "precision_soft", "recall_soft")


TASK = Task(
    name="nested_ner",
    kind="span",
    language="en",
    slots=SLOTS,
    nouns=PromptNouns(text="sentence", slot="type", value="entity", rationale="reason"),
    instructions=(
        "Read the {text} {where} and list the entities of these {slot}s: {slots}.",
        "Which words of the {text} {where} name entities of the {slot}s {slots}? Entities may be nested.",
        "This is nested entity recognition. The {slot}s are {slots}; the {text} is {where}.",
    ),
    metrics=METRICS,
    objective="f1",
    load=bundled("nested_ner", "all"),
    wordings={"no_rationale": "none found"},
    definitions=DEFINITIONS,
)
