# SPDX-License-Identifier: GPL-3.0-or-later
# The command `faceblur` with its weights, for servers: docker build -t faceblur . && docker run --rm --network none \
#   --user "$(id -u):$(id -g)" -v "$PWD:/films" faceblur holiday.mp4
FROM python:3.13-slim-trixie AS base
ENV PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1

FROM base AS build
WORKDIR /source
COPY requirements/ requirements/
# The packages of the lock that `build.py blur` uses, and the pinned builder of the wheel.
RUN python -m venv /faceblur \
    && /faceblur/bin/pip install --require-hashes --only-binary=:all: -r requirements/plain.txt \
    && python -m venv /builder \
    && /builder/bin/pip install --require-hashes --only-binary=:all: -r requirements/wheel.txt
COPY LICENSE README.md blender_manifest.toml pyproject.toml ./
COPY models/models.toml models/LICENCES.txt models/
COPY blender_faceblur/ blender_faceblur/
# The package's own weights folder is the user's cache, which lies in the image.
RUN /builder/bin/python -m hatchling build --target wheel --directory /wheel \
    && /faceblur/bin/pip install --no-deps --no-index /wheel/faceblur-*.whl \
    && XDG_CACHE_HOME=/weights /faceblur/bin/faceblur models centerface yunet_2023mar mtcnn_onet dlib_resnet ppocr_text

FROM base
COPY --from=build /faceblur /faceblur
COPY --from=build /weights/faceblur/models /weights
# Any user may run it, and only the mounted folder and the temporary folder are written to.
ENV FACEBLUR_MODELS=/weights XDG_CACHE_HOME=/tmp/cache
RUN chmod -R a+rX /weights
USER 10001:10001
WORKDIR /films
ENTRYPOINT ["/faceblur/bin/faceblur"]
