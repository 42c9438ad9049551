module robustmq/interop/report

go 1.26.8
