"""Augmentation: examples that a teacher model writes, from the trial's own (`augment: [none, llm2llm, self_guide]`).

method.py     the axis' method: which scheme, equal steps, costs
llm2llm.py    examples like those that the student gets wrong, in rounds
self_guide.py texts and their answers, from the task and demonstrations
round.py      what a round of either begins with
teacher.py    who writes: the base itself, a named model, an OpenAI-compatible endpoint
written.py    reading what a teacher has written; near-copies (ROUGE-L)
"""
