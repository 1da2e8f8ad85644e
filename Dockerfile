# The suite with everything that its commands need, for the CPU and for NVIDIA GPUs (PyTorch's wheels bring CUDA).
#   docker build -t denseclip .
#   docker run --rm -v "$PWD:/data" denseclip segment street.jpg --classes "road; car; sky" --out results
#   docker run --rm --gpus all --shm-size 8g -v "$PWD:/data" denseclip train METHOD/NAME
FROM python:3.11-slim

# What OpenCV's wheel opens when it is imported.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/*

COPY . /tmp/suite
RUN pip install --no-cache-dir --constraint /tmp/suite/requirements/tested.txt "/tmp/suite[mm,demo,train]" \
    && rm -rf /tmp/suite \
    && useradd --create-home --uid 1000 denseclip

USER 1000
WORKDIR /data
ENV DENSECLIP_CACHE=/home/denseclip/.cache/denseclip
ENTRYPOINT ["denseclip"]
CMD ["--help"]
