"""Host tools of the rfprobe ablation controller."""
