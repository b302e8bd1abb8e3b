"""How the embedded base model was made: `python -m sde_ray.bench.tiny_model.pretrain`.

pretrain.py    the training; losses.py auxiliary losses; muon.py the optimizer
corpus.py      the text it is trained on; forms.py the forms of its answers"""
