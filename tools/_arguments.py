"""What train.py and test.py have in common."""

import argparse
import os

EPILOG = (
    "Several GPUs or CPUs: tools/dist_train.sh, tools/slurm_train.sh. Mixed precision: "
    "--cfg-options optim_wrapper.type=Bf16OptimWrapper, or AmpOptimWrapper on a GPU. Another total "
    "batch size: --cfg-options auto_scale_lr.enable=True."
)


def parse(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Add the common arguments and parse."""
    parser.add_argument("--work-dir", help="where to write; work_dirs/<config> by default")
    parser.add_argument("--data-root", help="the prepared data set, instead of the config's")
    parser.add_argument(
        "--cfg-options", nargs="+", default=[], metavar="KEY=VALUE", help="override the config"
    )
    parser.add_argument(
        "--launcher",
        choices=["none", "pytorch", "slurm", "mpi"],
        default="none",
        help="how the processes were started; without CUDA they work on CPUs (pytorch, slurm)",
    )
    parser.add_argument("--local_rank", "--local-rank", default="0", help=argparse.SUPPRESS)
    args = parser.parse_args()
    os.environ.setdefault("LOCAL_RANK", args.local_rank)
    return args


def common(args: argparse.Namespace) -> list[str]:
    """Return the common arguments as `kd3d train` and `kd3d test` take them."""
    launcher = [] if args.launcher == "none" else [f"launcher={args.launcher}"]
    words = []
    for option in args.cfg_options + launcher:
        words += ["--cfg-options", option]
    for name in ("work_dir", "data_root"):
        if getattr(args, name):
            words += ["--" + name.replace("_", "-"), getattr(args, name)]
    return words
