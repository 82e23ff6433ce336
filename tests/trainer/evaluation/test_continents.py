"""Places that everyone knows are on their continent, and neighbours across the lines where continents meet."""

import numpy as np
import pytest

from trainer.evaluation.continents import FEW_SHOT, continents


@pytest.mark.parametrize(
    ("lon", "lat", "name"),
    [
        (31.2, 30.0, "Africa"),  # Cairo
        (-7.6, 33.6, "Africa"),  # Casablanca
        (47.5, -18.9, "Africa"),  # Antananarivo
        (57.5, -20.2, "Africa"),  # Port Louis
        (34.0, 29.5, "Asia"),  # Sinai
        (45.0, 12.8, "Asia"),  # Aden
        (43.1, 11.6, "Africa"),  # Djibouti
        (28.8, 41.1, "Europe"),  # Istanbul, west
        (29.2, 40.95, "Asia"),  # Istanbul, east
        (28.2, 36.4, "Europe"),  # Rhodes
        (33.4, 35.2, "Asia"),  # Nicosia
        (-5.35, 36.15, "Europe"),  # Gibraltar
        (-5.3, 35.9, "Africa"),  # Ceuta
        (56.2, 58.0, "Europe"),  # Perm
        (61.4, 55.2, "Asia"),  # Chelyabinsk
        (177.5, 64.7, "Asia"),  # Anadyr
        (-173.2, 64.4, "Asia"),  # Provideniya
        (-166.0, 64.5, "North America"),  # Nome
        (173.0, 52.9, "North America"),  # Attu
        (-21.9, 64.1, "Europe"),  # Reykjavik
        (-51.7, 64.2, "North America"),  # Nuuk
        (-79.5, 9.0, "North America"),  # Panama
        (-74.1, 4.6, "South America"),  # Bogota
        (-61.5, 10.6, "North America"),  # Port of Spain
        (-66.9, 10.5, "South America"),  # Caracas
        (147.2, -9.45, "Oceania"),  # Port Moresby
        (140.7, -2.5, "Asia"),  # Jayapura
        (130.8, -12.4, "Oceania"),  # Darwin
        (123.6, -10.2, "Asia"),  # Kupang
        (178.4, -18.1, "Oceania"),  # Suva
        (-171.8, -13.8, "Oceania"),  # Apia
        (-157.9, 21.3, "Oceania"),  # Honolulu
        (10.0, -85.0, "Antarctica"),
        (-30.0, 20.0, ""),  # the Atlantic
    ],
)
def test_places(lon, lat, name):
    assert continents(np.array([[lon, lat]]))[0] == name


def test_the_continents_of_the_transfer_study_are_known():
    middles = np.array([[-100.0, 40], [20, 0], [135, -25]])
    assert tuple(continents(middles).tolist()) == FEW_SHOT
