module libhotstuff/bindings/go

go 1.24
