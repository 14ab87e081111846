"""Index and audit the photographs of data.source, and divide them so that no photograph is on both sides."""

from inspection.audit.data_metrics import describe_data
from inspection.audit.findings import as_report, audit_images, summary
from inspection.audit.indexing import check_unreadable, index_images
from inspection.config import load_params
from inspection.data.groups import join_groups
from inspection.data.images import Decoding
from inspection.data.ledger import UNDRAWN, LedgerKey, read_ledger, write_ledger
from inspection.data.manifest import as_manifest, label_of, weigh_images, write_manifest
from inspection.data.masks import check_masks, describe_unmarked
from inspection.data.sources import group_by_name, list_labelled
from inspection.data.splits import divide
from inspection.files import write_csv, write_json
from stages.running import open_cache, progress_of, run_stage

LEDGER = "data/split.json"
"""In git, read and added to: which photographs were ever test images."""


def prepare() -> None:
    params = load_params()
    ledger = read_ledger(LEDGER)
    source, decoding = params.data.source, Decoding.of(params.data.decoding)
    cache = open_cache(params.cache.max_megabytes)
    listing = list_labelled(source, params.data.layout, params.data.classes)
    records = group_by_name(listing.records, source, params.data.group_pattern, params.data.group_block)
    indexed = index_images(records, decoding, progress_of, cache)
    check_unreadable(indexed, params.data.max_unreadable_share)
    labels = label_of(indexed.readable["defect_probability"], params.data.defect_threshold)
    audit = audit_images(indexed, labels, progress_of, cache)
    report = as_report(audit, source, listing.layout)
    print(summary(report))
    images = audit.images.assign(
        stated_group=audit.images["group"],
        group=join_groups(audit.images, params.data.series),
        weight=weigh_images(audit.images, params.data),
    )
    key = LedgerKey.of(params)
    division = divide(images, params.data, params.seed, ledger.get(key, UNDRAWN))
    for notice in division.notices:
        print(f"NOTICE: {notice}")
    manifest = as_manifest(division.images)
    masks = check_masks(manifest)
    for notice in describe_unmarked(masks, manifest):
        print(f"NOTICE: {notice}")
    write_json("data/audit.json", report)
    write_json("metrics/data.json", describe_data(audit, division, params.data, params.seed))
    # What the pictures of the report show, of images that were left out as well.
    write_csv("data/photographs.csv", audit.images.drop(columns="picture"))
    write_csv("data/masks.csv", masks)
    write_ledger(LEDGER, ledger | {key: division.entry})
    write_manifest("data/manifest.csv", manifest)


if __name__ == "__main__":
    run_stage(prepare)
