"""Decide, from the sizes of the training images, whether photographs are cut into tiles and how large these are."""

from inspection.config import load_params
from inspection.data.manifest import read_manifest
from inspection.data.tile_plan import plan_tiles, write_tile_side
from stages.running import run_stage


def plan() -> None:
    params = load_params()
    decided = plan_tiles(read_manifest("data/manifest.csv"), params.features.tiles, params.features.image_size)
    if decided.notice:
        print(f"NOTICE: {decided.notice}")
    write_tile_side("data/tiles.json", decided.side)


if __name__ == "__main__":
    run_stage(plan)
