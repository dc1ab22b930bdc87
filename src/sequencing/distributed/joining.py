"""How the processes that torchrun has started find each other, at the first start and after each restart.

`torchrun --nproc-per-node N -m sequencing train …` starts them, on one machine or many; each has its rank.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from uuid import uuid4

import torch
import torch.distributed as group
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from sequencing.distributed.ranks import Ranks
from sequencing.process import cores
from sequencing_np.errors import SequencingError

PATIENCE = timedelta(minutes=30)  # that ranks wait for one another: rank 0 validates while the others wait
SIGNS = ("gloo", "NCCL", "Connection")  # in what PyTorch says where ranks do not hear each other
PAUSE = 0.02  # seconds between two looks at the store


@contextmanager
def together() -> Iterator[Ranks]:
    """Join the ranks that torchrun has started; one of one where it has not."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Ranks()
        return
    rank, local = int(os.environ["RANK"]), int(os.environ.get("LOCAL_RANK", "0"))
    device = torch.device("cuda", local) if torch.cuda.is_available() else torch.device("cpu")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    torch.set_num_threads(max(cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1")), 1))
    try:
        store, rank, count = next(rendezvous("env://", timeout=PATIENCE))
        backend = "nccl" if device.type == "cuda" else "gloo"
        group.init_process_group(backend, store=own(store, rank, count), rank=rank, world_size=count, timeout=PATIENCE)
    except (RuntimeError, TimeoutError) as error:
        raise lost(rank, error) from None
    try:
        yield Ranks(rank, count, device)
    except RuntimeError as error:
        if any(sign in str(error) for sign in SIGNS):
            raise lost(rank, error) from None
        raise
    finally:
        group.destroy_process_group()


def own(store: Store, rank: int, count: int, patience: timedelta = PATIENCE) -> Store:
    """The part of torchrun's store that belongs to these ranks alone, and not to those of an earlier start.

    One store lasts over all restarts, and in it stand the addresses of ranks that are dead (pytorch/pytorch#135712);
    how often it was restarted, each machine counts for itself. So each rank gives itself a name that nobody had before.
    Rank 0 says which names it has heard, until each of the others has found its own among them and has answered.
    TimeoutError where not all come.
    """
    name, others = uuid4().hex, range(1, count)
    if rank == 0:
        keys = [f"rank/{other}" for other in others]
        for _ in looks(patience):
            if all(store.check([f"{name}/{other}"]) for other in others):
                break
            if store.check(keys):
                store.set("heard", name + "".join(store.get(key).decode() for key in keys))
        return PrefixStore(name, store)
    store.set(f"rank/{rank}", name)
    heard = (store.get("heard").decode() for _ in looks(patience) if store.check(["heard"]))
    first = next(names[: len(name)] for names in heard if name in names)
    store.set(f"{first}/{rank}", "")
    return PrefixStore(first, store)


def looks(patience: timedelta) -> Iterator[None]:
    """One after another, as long as there is patience."""
    until = time.monotonic() + patience.total_seconds()
    while time.monotonic() < until:
        yield
        time.sleep(PAUSE)
    raise TimeoutError("they have not come")


def lost(rank: int, error: Exception) -> SequencingError:
    """What the ranks say that are left."""
    return SequencingError(
        f"rank {rank} cannot reach the others: one of them has ended, as what it said above or the system's log tells, "
        f"or the network fails ({str(error).partition('. ')[0]}). What was saved before is intact: the same command "
        "goes on from there, and torchrun --max-restarts N does by itself"
    )
