"""Functions that create, load, save, convert and describe networks."""

from mobilenetv2.networks.building import build as build
from mobilenetv2.networks.building import convert as convert
from mobilenetv2.networks.building import edition_of as edition_of
from mobilenetv2.networks.building import network_config as network_config
from mobilenetv2.networks.creation import create_model as create_model
from mobilenetv2.networks.creation import list_models as list_models
from mobilenetv2.networks.description import Description as Description
from mobilenetv2.networks.description import describe as describe
from mobilenetv2.networks.folders import load as load
from mobilenetv2.networks.folders import save as save
