"""Rationales for the reasoning axis: from a template, or asked of a model over HTTP.

template.py       a sentence with {slot} and {value}
generate.py       a data set with reasons written into it
chat_client.py    any OpenAI-compatible server
"""
