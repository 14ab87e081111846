"""Write the versions of the installed packages; always run, for an upgrade changes no file that DVC knows of."""

from inspection.files import write_json
from inspection.versions import PACKAGES_OF_STAGES, installed_versions
from stages.running import run_stage


def record_versions() -> None:
    for stage, packages in PACKAGES_OF_STAGES.items():
        write_json(f"data/versions/{stage}.json", installed_versions(packages))


if __name__ == "__main__":
    run_stage(record_versions)
