# Sourced by the scripts beside it: says which step runs, and how long it took.

step() {
    local name=$1 begun=$SECONDS
    shift
    printf '\n==> %s: %s\n' "$name" "$*"
    if ! "$@"; then
        printf '==> %s FAILED after %d s\n' "$name" $((SECONDS - begun)) >&2
        exit 1
    fi
    printf '==> %s took %d s\n' "$name" $((SECONDS - begun))
}
