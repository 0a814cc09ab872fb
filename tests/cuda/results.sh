# Sourced: what is said where there is no GPU, where results of one go, and what they are called.

# Ends with status 1, or with 77 where EQUINV_REQUIRE_CUDA=0 makes it no failure.
without_gpu() {
    if [ "${EQUINV_REQUIRE_CUDA:-1}" = 0 ]; then
        echo "SKIP $1: $2"
        exit 77
    fi
    echo "$1: $2 (with EQUINV_REQUIRE_CUDA=0 no failure)"
    exit 1
}

# Path as the library wants it in EQUINV_BACKEND_PATH: with a slash.
with_slash() {
    case $1 in */*) echo "$1" ;; *) echo "./$1" ;; esac
}

# What `equinv info` says of CUDA: "cuda:0, <name>, compute capability ..", or "unavailable: <why>".
cuda_device() {
    EQUINV_BACKEND=cuda EQUINV_BACKEND_PATH=$(with_slash "$2") "$1/bin/equinv" info |
        sed -n -e 's/^device: \(cuda:.*\)/\1/p' -e 's/^cuda: \(unavailable: .*\)/\1/p' | head -n 1
}

# The GPU's name for file names: NVIDIA-H100-80GB-HBM3.
file_name_of() {
    echo "$1" | sed -e 's/^cuda:[0-9]*, //' -e 's/, compute capability.*//' -e 's/[^A-Za-z0-9][^A-Za-z0-9]*/-/g' \
        -e 's/^-//' -e 's/-$//' | cut -c1-60
}

# Copies files into a folder of results, or says where they stay.
keep() {
    folder=$1
    shift
    if mkdir -p "$folder" 2> /dev/null && cp "$@" "$folder/" 2> /dev/null; then
        for file in "$@"; do echo "written: $folder/${file##*/}"; done
    else
        echo "RESULTS=$folder cannot be written; the results stay in: $*"
        return 1
    fi
}
