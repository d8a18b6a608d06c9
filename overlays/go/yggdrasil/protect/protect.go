// Package protect stands in for suah.dev/protect, which calls OpenBSD's pledge(2). On any other system that module does
// nothing, as this one; it is ours because its host is no GitHub address and module proxies do not all carry it.
package protect

// Pledge does nothing: there is no pledge(2) on Linux.
func Pledge(promises string) error {
	return nil
}
