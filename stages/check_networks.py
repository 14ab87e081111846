"""Build every network that params.yaml names, before any stage spends time on a run that cannot end well."""

from inspection.config import load_params
from inspection.files import write_json
from inspection.networks.architectures import make_recipe
from inspection.networks.pretrained import build_feature_network
from inspection.plugins import load_plugins
from stages.running import run_stage


def check_networks() -> None:
    params = load_params()
    load_plugins(params.plugins)
    patches = params.patch_memory if params.detectors else None
    for name in params.backbones:
        print(f"{name}: {build_feature_network(name, params.features, patches).provenance}")
    for name in params.networks:
        make_recipe(name, params.cnn, params.fine_tuning, params.features.weights)
    # The same content whenever the networks are usable, so that later stages wait for it but never rerun because of it;
    # other content than that of check-params, which DVC would take from its cache instead of running this.
    write_json("data/networks_checked.json", {"networks_usable": True})


if __name__ == "__main__":
    run_stage(check_networks)
