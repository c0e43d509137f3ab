# Images of docs/examples, for the stories that run them. Sourced, not run.
# shellcheck shell=bash
# shellcheck disable=SC2154 # set by the files beside this one

examples_ensure() {
  image_ensure python-consumer docs/examples/python-consumer python_consumer_context --build-arg "PIP_OPTIONS=--no-index --find-links wheels"
  printf 'tidegate/python-consumer:%s' "$image_tag" >"$STATE/python-consumer"
}

# The example and the packages that it needs. pip runs here, not in the build: it needs this host's proxies and authorities.
python_consumer_context() {
  local context
  context=$(scratch python-consumer)
  cp docs/examples/python-consumer/* "$context/"
  python3 -m pip download --quiet --no-deps --only-binary=:all: --require-hashes --python-version 3.11 \
    --platform "manylinux_2_28_$(uname -m)" -r "$context/requirements.txt" -d "$context/wheels" >&2
  echo "$context"
}
