package planted

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/build"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
)

// Compiler checks that packages compile with a defect, each against all others
// as they are. It is much faster than a build for each defect.
type Compiler struct {
	root     string
	exports  map[string]string // by import path: what the compiler says of a package
	fset     *token.FileSet
	importer types.Importer
}

// NewCompiler builds the module at root once.
func NewCompiler(root string) (*Compiler, error) {
	cmd := exec.Command("go", "list", "-export", "-deps", "-json=ImportPath,Export", "./cmd/...")
	cmd.Dir = root
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("list the packages: %w", err)
	}
	c := &Compiler{root: root, exports: map[string]string{}, fset: token.NewFileSet()}
	c.importer = importer.ForCompiler(c.fset, "gc", c.open)
	for packages := json.NewDecoder(out); ; {
		var p struct{ ImportPath, Export string }
		if err = packages.Decode(&p); err != nil {
			break
		}
		c.exports[p.ImportPath] = p.Export
	}
	if !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("list the packages: %w", err)
	}
	return c, cmd.Wait()
}

// Check applies a defect and compiles the packages that it changes.
func (c *Compiler) Check(d *Defect) error {
	patched, err := d.patch(c.root)
	if err != nil {
		return err
	}
	checked := map[string]bool{}
	for path := range patched {
		if dir := filepath.Dir(path); !checked[dir] {
			checked[dir] = true
			if err := c.check(dir, patched); err != nil {
				return fmt.Errorf("with the planted defect %s: %w", d.Name, err)
			}
		}
	}
	return nil
}

func (c *Compiler) check(dir string, patched map[string][]byte) error {
	pkg, err := build.ImportDir(dir, 0)
	if err != nil {
		return err
	}
	var files []*ast.File
	for _, name := range pkg.GoFiles {
		path := filepath.Join(dir, name)
		var source any // nil: as it stands
		if content, ok := patched[path]; ok {
			source = content
		}
		f, err := parser.ParseFile(c.fset, path, source, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		files = append(files, f)
	}
	config := types.Config{Importer: c.importer}
	_, err = config.Check(dir, c.fset, files, nil)
	return err
}

func (c *Compiler) open(path string) (io.ReadCloser, error) { return os.Open(c.exports[path]) }
