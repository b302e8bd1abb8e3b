"""Models: the resident base, adapters on it, tokens, decoding.

base.py             load a base model; gguf.py one that is a GGUF file; lora.py LoRA adapters on it
base_settings.py    quantization, attention and compilation: what this machine can do of it
availability.py     whether a model can be loaded, told without its weights; meta.py its modules without them
adapter_files.py    an adapter's folder, checked before it is loaded
tokenization.py     samples as ids and labels; token_cache.py the ids of texts that come again
merged_lora.py      an adapter in the weights while decoding; memory.py what memory is free
joint_model.py      a base that trains several adapters in one pass; lora_group.py whose rows these are,
                    grouped_linear.py one layer of it, joint_decoding.py their completions in common batches
generation.py       batched generation; continuous_batch.py its rows, decoding_step.py a step of them, kv_cache.py
                    their cache; fast_dropout.py dropout on a CPU; constrained.py only what a grammar allows
backends/           what decodes: our own generation, or vLLM
decoder.py          prompts in, completions out: what trials, predict and the studies decode with
perplexity.py       likelihoods of prompts and gold outputs, and perplexities of texts; general_values.py how well a
                    model knows plain ones
merge.py            an adapter and its base as one folder
predictor.py        a trained adapter, applied in its design; answer_rows.py anybody's texts, one by one
tiny/               the embedded base model
"""
