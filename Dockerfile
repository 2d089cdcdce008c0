# The lab's server, with PyTorch for NVIDIA GPUs. compose.yaml runs it; docs/deployment.md says how.
FROM python:3.11-slim
RUN useradd --create-home --uid 1000 lab && mkdir /store && chown lab /store
WORKDIR /lab
COPY requirements.txt .
RUN pip install --no-cache-dir -r requirements.txt
COPY . .
RUN pip install --no-cache-dir --no-deps .
USER lab
ENV LAB_HOME=/store
EXPOSE 8501
CMD ["latent-lab", "serve"]
