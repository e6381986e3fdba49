# One image for every command: `docker run usermemory COMMAND`. What it serves is said in compose.yaml and docs/deploy.md.

FROM python:3.13-slim AS build
# Extras of the project, and further packages: a model's provider, such as PACKAGES=langchain-openai with EXTRAS=all.
ARG EXTRAS=postgres,redis,sqs
ARG PACKAGES=""
RUN python -m venv /opt/usermemory
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY storage ./storage
COPY memory_tools ./memory_tools
COPY graphs ./graphs
COPY mcp_server ./mcp_server
COPY http_api ./http_api
COPY usermemory ./usermemory
RUN /opt/usermemory/bin/pip install --no-cache-dir ".[${EXTRAS}]" ${PACKAGES}

FROM python:3.13-slim
RUN useradd --uid 10001 --create-home --home-dir /var/lib/usermemory --shell /usr/sbin/nologin usermemory
COPY --from=build /opt/usermemory /opt/usermemory
ENV PATH=/opt/usermemory/bin:$PATH PYTHONUNBUFFERED=1
# By number, so that an orchestrator can tell that it is not root.
USER 10001
WORKDIR /var/lib/usermemory
EXPOSE 8000
STOPSIGNAL SIGTERM
# Of `serve` on its port; a container that runs another command says so itself (compose.yaml).
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
  CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/health', timeout=4)"]
ENTRYPOINT ["usermemory"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8000", "--api-keys"]
