#!/bin/sh
# Takes out of the packages in folder $1 what the service never opens: tests, headers, type stubs, symbols, tools that
# convert models, the C library beside onnxruntime's own module, and Arrow's clients of Flight and S3.
set -eu
cd "$1"

find . -type d \( -name tests -o -name include \) -not -path './nvidia/*' -prune -exec rm -rf {} +
find . -type f \( -name '*.pyi' -o -name '*.pyx' -o -name '*.px[di]' -o -name '*.[hca]' -o -name '*.[hc]pp' \) -delete
rm -rf onnxruntime/datasets onnxruntime/quantization onnxruntime/tools onnxruntime/transformers
rm -f onnxruntime/capi/libonnxruntime.so* \
  pyarrow/_flight* pyarrow/libarrow_flight* pyarrow/libarrow_python_flight* pyarrow/_s3fs* pyarrow/libarrow_s3*

# What auditwheel has moved into *.libs no longer loads once stripped; CUDA's libraries stay as they came.
find . -type f -name '*.so*' -not -path '*.libs/*' -not -path './nvidia/*' -not -name '*_providers_*' \
  -exec strip --strip-unneeded {} +
