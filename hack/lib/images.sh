# Our images: built by plain Dockerfiles, named by what went into them, loaded into the node only when it lacks them. Sourced.
# shellcheck shell=bash
# shellcheck disable=SC2154 # set by the files beside this one

# image_ensure NAME SOURCES CONTEXT [BUILD ARGUMENT...]: builds tidegate/NAME and loads it; sets image_tag, a hash of SOURCES, base and
# arguments. CONTEXT is a command that prints the build context. Archives are kept in the cache: a new cluster needs no new build.
image_ensure() {
  local name=$1 sources=$2 context=$3 archive
  shift 3
  source_images
  image_tag=$(digest_text "$(digest "$sources")" "$base_image" "$@")
  archive=$CACHE/images/$name-$image_tag.tar
  if node_has_image "tidegate/$name:$image_tag"; then
    return
  fi
  lock_cache
  if [ ! -f "$archive" ]; then
    say "  building tidegate/$name"
    mkdir -p "$CACHE/images"
    docker build --network=host --build-arg "BASE=$base_image" -t "tidegate/$name:$image_tag" "$@" "$($context)"
    docker save -o "$archive.part" "tidegate/$name:$image_tag"
    find "$CACHE/images" -name "$name-*.tar" -delete
    mv "$archive.part" "$archive"
    # On our own engine nobody needs the layers of build stages and of older images.
    ! engine_is_ours || docker image prune -f
  fi
  unlock_cache
  say "  loading tidegate/$name:$image_tag into the node"
  kind load image-archive "$archive" --name "$CLUSTER"
  node_has_image "tidegate/$name:$image_tag"
}

node_has_image() {
  docker exec "$NODE" ctr -n k8s.io images ls -q | grep -E "(^|/)$1\$" >/dev/null
}
