"""Names of the models that are used by default."""

from mobilenetv2.hub.catalogue import catalogue
from mobilenetv2.hub.models import embedded_folder
from mobilenetv2.spec.standard import DEFAULT, EMBEDDED, HUB


def test_the_names_are_in_the_catalogue() -> None:
    assert DEFAULT in catalogue()
    assert EMBEDDED not in catalogue() and (embedded_folder() / "config.json").is_file()


def test_a_repository_of_the_hub_begins_with_its_scheme() -> None:
    assert HUB == "hf://" and all(not name.startswith(HUB) for name in catalogue())
