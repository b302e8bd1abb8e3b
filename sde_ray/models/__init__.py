"""Models: the resident base, adapters on it, tokens, decoding.

base.py             load a base model, attach and detach a LoRA adapter
adapter_files.py    an adapter's folder, checked before it is loaded
tokenization.py     samples as ids and labels
generation.py       batched decoding; kv_cache.py its cache; fast_dropout.py dropout on a CPU
predictor.py        a trained adapter, applied in its design
tiny/               the embedded base model
"""
