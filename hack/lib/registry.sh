# Whether images come from a container registry or from hack/offline. Sourced, not run.
# shellcheck shell=bash
# shellcheck source=hack/offline/images.sh
. hack/offline/images.sh

base_image=""
node_image=""

# Sets base_image and node_image to images that the engine has. Once a run is enough.
source_images() {
  if [ -n "$node_image" ]; then
    return
  fi
  if offline; then
    offline_base_image
    offline_node_image
  else
    base_image=$REGISTRY_BASE_IMAGE
    node_image=$REGISTRY_NODE_IMAGE
    local image
    for image in "$base_image" "$node_image"; do
      if ! docker image inspect "$image" >/dev/null 2>&1; then
        say "  pulling $image"
        docker pull -q "$image"
      fi
    done
  fi
}

# Answered once for this state directory: an engine that can pull the base image within 20 s has a registry within reach. Without
# CAP_SYS_RESOURCE kind's own node image cannot start its privileged pods, so the assembled one is taken then, too.
offline() {
  local answer=$STATE/offline
  if [ -n "${TIDEGATE_OFFLINE:-}" ]; then
    echo "$TIDEGATE_OFFLINE" >"$answer"
  elif [ ! -f "$answer" ]; then
    if lacks_sys_resource; then
      say "  this host lacks CAP_SYS_RESOURCE: assembling the images, as kind's own would not start here"
      echo 1 >"$answer"
    elif docker image inspect "$REGISTRY_BASE_IMAGE" >/dev/null 2>&1 || timeout 20 docker pull -q "$REGISTRY_BASE_IMAGE"; then
      echo 0 >"$answer"
    else
      say "  no container registry answers: assembling the images from package registries"
      echo 1 >"$answer"
    fi
  fi
  [ "$(cat "$answer")" = 1 ]
}
