r"""Many images, many machines: a laptop, a cluster, and what fifty thousand images take.

A probe reads its images in *shards*, each of which can be carried out anywhere. What makes a shard
depends on the number of images alone, and sums are added up shard by shard, so that one process and
a hundred find the same table, bit for bit, if each computes with as many threads.

## On one machine

`invariance-probe probe --engine ray` (extra `cluster`) starts a task a core, each with one thread,
and ends them. `--gpus-per-task 0.5` puts two on each GPU. In Python:

    from invariance_probe.engines import Ray
    result = ip.probe(model, images, ..., out="runs/mine", engine=Ray(gpus=0.5))

Trainings run side by side with `invariance-probe train --processes N`, or as tasks: `--engine ray`.

## On a cluster

    #!/bin/bash
    #SBATCH --nodes=2 --ntasks-per-node=1 --cpus-per-task=32 --gpus-per-node=4 --time=04:00:00
    head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
    srun ray symmetric-run --address "$head:6379" --min-nodes "$SLURM_NNODES" -- \
        invariance-probe probe --model torchvision:resnet50 --layers 'layer?' \
        --images /shared/imagenet/val --out /shared/runs/mine --engine ray

`symmetric-run` starts Ray on every node of the job and the command on the first. The nodes see the
package, the images and the run folder under the same names. Where a job ends too early the same
command goes on with the shards that are missing; a worker or node that dies has its shard made
anew, three times; a shard that is lost all the same is named, and the others are kept.

## What is held where

* A task holds the maps of a few images and, if channels are mixed, the second moments of its shard
  (at most 2 GiB, as chosen by the number of folds); the first process adds them up.
* Rows are written as they come. Beyond ten million the table stays in its file: `summary()`,
  `decomposition()` and figures read a layer and metric at a time, `frame(layer=..., metric=...)`
  what it is asked for. Any reader of Parquet reads `results.parquet`.

## Fifty thousand images, 24 rotations, 20 layers: on paper

EfficientNet-Lite0, default methods, from `python -m analyses run scale` (two cores of an AMD EPYC):

| | |
|---|---|
| one image, 24 rotations, 20 layers, on one core | 2.4 s |
| 50 000 of them | 33 core hours |
| added by the engine, beyond its start | 14 % (2 016 images, 3 layers, 2 transforms, two tasks) |
| memory of a task | 2.2 GB |
| rows of the table | 360 million |
| the table on the disk | 5 GB |
| memory of `summary()` at a fifth of the images | 0.7 GB, by parameter 0.9 GB |

A summary's memory grows with the images, by their rows of one layer and metric.

With the 14 % that is 0.6 h on 64 cores. On 8 GPUs nobody has timed it: if each does the work of G
cores, which `python -m analyses run device` tells where there is one, they take 38 / (8 G) hours,
0.5 h for G = 10. Reading and decoding the images (here cut from memory) comes on top.
"""
