module libhotstuff/examples-go

go 1.24

require libhotstuff/bindings/go v0.0.0

replace libhotstuff/bindings/go => ../bindings/go
