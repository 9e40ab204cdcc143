// Package register registers the provider that the tests use: the others would bring the libraries of thirty clouds.
package register

import _ "github.com/external-secrets/external-secrets/pkg/provider/aws"
