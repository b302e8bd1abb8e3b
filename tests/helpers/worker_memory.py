"""What a worker holds and sends, told from inside of its process."""

from __future__ import annotations

from typing import Any


def base_bytes(worker: Any) -> dict[str, int]:
    """Of the base's parameters: what this worker holds in full and in shards, and what they are in all."""
    weights = list(worker._loaded.model.parameters())
    return {
        "full": sum(weight.nbytes for weight in weights),
        "shards": sum(weight.ds_tensor.nbytes for weight in weights),
        "all": sum(weight.ds_numel * weight.element_size() for weight in weights),
        "largest": max(weight.ds_numel * weight.element_size() for weight in weights),
    }


def watch_decoding(worker: Any) -> None:
    """Note the most that the base's parameters take in any forward pass from here on."""
    worker.peak = 0

    def look(*_: Any) -> None:
        held = base_bytes(worker)
        worker.peak = max(worker.peak, held["full"] + held["shards"])

    for module in worker._loaded.model.modules():
        module.register_forward_hook(look)


def live_bytes(worker: Any) -> int:
    """All tensors of the process, those of frozen generations too."""
    import gc

    import torch

    gc.unfreeze()
    gc.collect()
    tensors = [each for each in gc.get_objects() if type(each) in (torch.Tensor, torch.nn.Parameter)]
    tensors += [each.ds_tensor for each in tensors if hasattr(each, "ds_tensor")]
    storages = {each.untyped_storage().data_ptr(): each.untyped_storage().nbytes() for each in tensors}
    return sum(storages.values())


def count_broadcasts(worker: Any) -> None:
    """Count the bytes that DeepSpeed broadcasts from here on."""
    from deepspeed import comm

    send, worker.sent = comm.broadcast, 0

    def counted(tensor: Any, *arguments: Any, **options: Any) -> Any:
        worker.sent += tensor.nbytes
        return send(tensor, *arguments, **options)

    comm.broadcast = counted


def decoding_peak(worker: Any) -> int:
    """What `watch_decoding` has noted."""
    return int(worker.peak)


def bytes_sent(worker: Any) -> int:
    """What `count_broadcasts` has counted."""
    return int(worker.sent)
