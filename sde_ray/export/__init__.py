"""The way out into other tools: a design's training file with a matching configuration, and what an adapter becomes.

source.py      which trial is exported, and its samples
targets/       a file for each tool, and the table of them
framing.py     the text around a prompt, written out, from the model's tokenizer
settings.py    a trial's settings by a tool's names, and what one cannot be told
files.py       the files of an export, and how they are written

    ollama.py          a Modelfile with the prompt that a merged model was trained on
    endpoint_check.py  three prompts with their completions, asked of an endpoint
    model_card.py      what the hub shows of an adapter: design, evidence, use, limits
    push.py            what goes to the hub, and how
"""
