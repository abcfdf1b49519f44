// Writes `src/twin/kube/schema.txt`: the types of the built-in kinds, read from the Go types of the pinned release and
// from its OpenAPI documents, which know how lists and maps are applied.
//
//	cd tests/wires && go run ./schema > ../../src/twin/kube/schema.txt
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"sort"
	"strings"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
	apiregistration "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
)

const head = `# The types of the built-in kinds, as the Go types and the OpenAPI documents of Kubernetes %s have them. Written by
# tests/wires/schema; the facts are those of the release, the form is ours.
#
# A type starts at the margin: its name, "go=NAME" where Go calls it otherwise, "atomic" when it is applied as a whole,
# "is" the kinds that it describes. Its fields follow, indented: name, type, then
#   !          always written, even when it is empty or zero
#   map=KEYS   apply: a list whose items are told apart by these keys ("key:default")
#   set        apply: a list of values of which each is owned for itself
#   atomic, granular   apply: the map or struct is owned as a whole, or field by field, whatever its type says
#   merge, merge=KEY   strategic merge patch: a list that is merged by value, or by this key
#   replace    strategic merge patch: a struct that is replaced
# Types: "*" may be absent though it is a struct or a scalar, "[]" a list, "{}" a map of texts to values; then a type of
# this file, or string, int32, int64, bool, float64, bytes, time, microtime, quantity, intorstring, any; a text of a
# named type is "string:v1.Name".
`

type fact struct {
	atomic, granular bool
	list             string
	keys             []string
	defaults         map[string]any
	kindName         string
}

var (
	definitions = map[string]map[string]any{}
	written     = map[reflect.Type]string{}
	taken       = map[string]reflect.Type{}
	blocks      = map[string]string{}
	kinds       = map[reflect.Type][]string{}
)

func main() {
	types := runtime.NewScheme()
	must(scheme.AddToScheme(types))
	must(apiextensions.AddToScheme(types))
	must(apiregistration.AddToScheme(types))
	release := readOpenAPI()
	var roots []reflect.Type
	for gvk, t := range types.AllKnownTypes() {
		if !wanted(gvk) || !isObject(t) {
			continue
		}
		kinds[t] = append(kinds[t], kindPath(gvk))
		roots = append(roots, t)
	}
	roots = append(roots, reflect.TypeOf(metav1.DeleteOptions{}), reflect.TypeOf(metav1.ObjectMeta{}))
	sort.Slice(roots, func(i, j int) bool { return roots[i].String() < roots[j].String() })
	for _, root := range roots {
		name(root)
	}
	fmt.Printf(head, release)
	names := make([]string, 0, len(blocks))
	for name := range blocks {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		fmt.Print(blocks[name])
	}
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// wanted: versions that servers prefer, and those older ones that the twin serves.
func wanted(gvk schema.GroupVersionKind) bool {
	if gvk.Version != "v1" && !(gvk.Group == "autoscaling" && gvk.Version == "v2") {
		return false
	}
	if strings.HasPrefix(gvk.Kind, "API") && gvk.Group == "" || strings.HasSuffix(gvk.Kind, "Options") || strings.HasSuffix(gvk.Kind, "List") || gvk.Kind == "WatchEvent" {
		return false
	}
	return definitions[definitionOf(gvkType(gvk))] != nil
}

var gvkTypes = map[schema.GroupVersionKind]reflect.Type{}

func gvkType(gvk schema.GroupVersionKind) reflect.Type {
	if t, found := gvkTypes[gvk]; found {
		return t
	}
	types := runtime.NewScheme()
	must(scheme.AddToScheme(types))
	must(apiextensions.AddToScheme(types))
	must(apiregistration.AddToScheme(types))
	for gvk, t := range types.AllKnownTypes() {
		gvkTypes[gvk] = t
	}
	return gvkTypes[gvk]
}

func isObject(t reflect.Type) bool {
	_, typed := t.FieldByName("TypeMeta")
	return typed
}

func kindPath(gvk schema.GroupVersionKind) string {
	if gvk.Group == "" {
		return gvk.Version + "/" + gvk.Kind
	}
	return gvk.Group + "/" + gvk.Version + "/" + gvk.Kind
}

func readOpenAPI() string {
	module := func(format string) string {
		out, err := exec.Command("go", "list", "-m", "-f", format, "k8s.io/kubernetes").Output()
		must(err)
		return strings.TrimSpace(string(out))
	}
	files, err := filepath.Glob(module("{{.Dir}}") + "/api/openapi-spec/v3/*_openapi.json")
	must(err)
	for _, file := range files {
		text, err := os.ReadFile(file)
		must(err)
		var document struct {
			Components struct {
				Schemas map[string]map[string]any `json:"schemas"`
			} `json:"components"`
		}
		must(json.Unmarshal(text, &document))
		for name, definition := range document.Components.Schemas {
			definitions[name] = definition
		}
	}
	return module("{{.Version}}")
}

func definitionOf(t reflect.Type) string {
	host, rest, _ := strings.Cut(t.PkgPath(), "/")
	parts := strings.Split(host, ".")
	for i, j := 0, len(parts)-1; i < j; i, j = i+1, j-1 {
		parts[i], parts[j] = parts[j], parts[i]
	}
	return strings.Join(parts, ".") + "." + strings.ReplaceAll(rest, "/", ".") + "." + t.Name()
}

// name writes a struct type once and answers what it is called.
func name(t reflect.Type) string {
	if called, found := written[t]; found {
		return called
	}
	called := t.Name()
	if other, found := taken[called]; found && other != t {
		pkg := strings.Split(t.PkgPath(), "/")
		called = strings.Join(pkg[len(pkg)-2:], ".") + "." + called
	}
	written[t], taken[called] = called, t
	definition := definitions[definitionOf(t)]
	line := called
	if called != t.Name() {
		line += " go=" + t.Name()
	}
	if definition["x-kubernetes-map-type"] == "atomic" {
		line += " atomic"
	}
	sort.Strings(kinds[t])
	if len(kinds[t]) > 0 {
		line += " is " + strings.Join(kinds[t], " ")
	}
	blocks[called] = line + "\n" + fields(t, definition)
	return called
}

func fields(t reflect.Type, definition map[string]any) string {
	properties, _ := definition["properties"].(map[string]any)
	text := ""
	for i := 0; i < t.NumField(); i++ {
		field := t.Field(i)
		tag := strings.Split(field.Tag.Get("json"), ",")
		options := strings.Join(tag[1:], ",")
		if field.Anonymous && (tag[0] == "" || strings.Contains(options, "inline")) {
			text += fields(field.Type, definition)
			continue
		}
		if tag[0] == "-" || tag[0] == "" {
			continue
		}
		line := " " + tag[0] + " " + typeName(field.Type)
		// Go leaves out an empty struct only where it is told to leave out zeroes.
		kept := !strings.Contains(options, "omitempty") || field.Type.Kind() == reflect.Struct
		if kept && !strings.Contains(options, "omitzero") {
			line += " !"
		}
		property, _ := properties[tag[0]].(map[string]any)
		line += relation(field.Type, property) + strategy(field)
		text += line + "\n"
	}
	return text
}

func strategy(field reflect.StructField) string {
	given, key := field.Tag.Get("patchStrategy"), field.Tag.Get("patchMergeKey")
	for _, one := range strings.Split(given, ",") {
		switch {
		case one == "merge" && key != "":
			return " merge=" + key
		case one == "merge":
			return " merge"
		case one == "replace":
			return " replace"
		}
	}
	return ""
}

func relation(t reflect.Type, property map[string]any) string {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch property["x-kubernetes-list-type"] {
	case "set":
		return " set"
	case "map":
		keys, _ := property["x-kubernetes-list-map-keys"].([]any)
		texts := []string{}
		for _, key := range keys {
			text := key.(string)
			if value := keyDefault(t.Elem(), text); value != nil {
				text += fmt.Sprintf(":%v", value)
			}
			texts = append(texts, text)
		}
		return " map=" + strings.Join(texts, ",")
	}
	switch property["x-kubernetes-map-type"] {
	case "atomic":
		return " atomic"
	case "granular":
		return " granular"
	}
	return ""
}

func keyDefault(t reflect.Type, key string) any {
	properties, _ := definitions[definitionOf(t)]["properties"].(map[string]any)
	property, _ := properties[key].(map[string]any)
	return property["default"]
}

func typeName(t reflect.Type) string {
	switch t.String() {
	case "v1.Time":
		return "time"
	case "v1.MicroTime":
		return "microtime"
	case "resource.Quantity":
		return "quantity"
	case "intstr.IntOrString":
		return "intorstring"
	case "runtime.RawExtension", "v1.FieldsV1", "v1.JSON", "runtime.Object":
		return "any"
	case "v1.JSONSchemaPropsOrArray", "v1.JSONSchemaPropsOrBool":
		return name(reflect.TypeOf(apiextensions.JSONSchemaProps{}))
	case "v1.JSONSchemaPropsOrStringArray":
		return "any"
	}
	switch t.Kind() {
	case reflect.Pointer:
		return "*" + typeName(t.Elem())
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return "bytes"
		}
		return "[]" + typeName(t.Elem())
	case reflect.Map:
		return "{}" + typeName(t.Elem())
	case reflect.Struct:
		return name(t)
	case reflect.String:
		if t.Name() != "string" {
			return "string:" + t.String()
		}
		return "string"
	case reflect.Bool, reflect.Int32, reflect.Int64, reflect.Float64:
		return t.Kind().String()
	}
	must(fmt.Errorf("no name for %s", t))
	return ""
}
