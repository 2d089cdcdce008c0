# The lab's server, with PyTorch for NVIDIA GPUs. compose.yaml runs it; docs/deployment.md says how.
FROM python:3.11-slim
RUN useradd --create-home --uid 1000 lab && mkdir /store && chown lab /store
WORKDIR /lab
COPY requirements.txt .
RUN pip install --no-cache-dir -r requirements.txt
COPY config.yaml pyproject.toml ./
COPY core core
COPY lab lab
COPY pages pages
COPY models/mnist-demo models/mnist-demo
USER lab
ENV LAB_RUNS=/store/runs LAB_DATA=/store/data LAB_CACHE=/store/cache \
    LAB_IMPORTS=/store/imports LAB_MODELS=/store/models LAB_GALLERY=/store/gallery
EXPOSE 8501
CMD ["python", "-m", "core", "serve"]
