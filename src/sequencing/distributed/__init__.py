"""Several processes that train one model. These files alone say torch.distributed."""
