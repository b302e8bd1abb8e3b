"""Speed and fidelity of the engine, side by side with what a user would write without it (`sde-ray bench engine`).

    sweeps.py         the same trials as a process each, as plain Ray Tune trials and as a sweep of ours; the floor
    decode.py         tokens a second of our decoding and of transformers' `generate` at its best batch size
    packed.py         trials that share each pass through the base, beside each alone and beside a loop over adapters
    fidelity.py       losses of our trainer and of transformers' Trainer, step by step
    shapes.py         samples and tokens a second at the shapes of 0.5B to 7B models, for a GPU
    roofline.py       what packing can gain on a GPU that is not at hand: kernels counted, their times assumed

    work.py           the trials that all ways run: designs, samples, limits
    ways.py           the three ways of sweeps.py, each in processes of its own
    plain_script.py   the script that a user writes: Trainer, peft, `generate`; knows nothing of this package
    plain_tune.py     the same work as function trials of Ray Tune
    own_sweep.py      the same work as a sweep of ours
    floor.py          the least seconds that the work's matrix products take, at the measured matrix rate
    measurement.py    repeats of a measure: median, range, ratio
    settings.py       what a number holds for: device, versions, settings

The rules: equal samples, steps, seeds and limits; each way at its own best batch; nothing is stopped early.
"""
