// SPDX-License-Identifier: Apache-2.0

// Checks histories of calls for linearizability: history TABLE < HISTORY
//
// HISTORY has a JSON object a line: vm, op (create, get, or a verb), call and return (nanoseconds of
// one monotonic clock; return 0: nobody answered), code (of gRPC) and state (that the answer shows).
// TABLE is what tests/history/table.c prints. A VM is a partition; its state in the model is the set
// of states that it may be in. What is not answered may happen at any later time, or never. A verb
// that is refused beside another may have been cut short by it: then it may have had its effect,
// or half of it.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"sort"
	"time"

	"github.com/anishathalye/porcupine"
)

type call struct {
	VM     string `json:"vm"`
	Op     string `json:"op"`
	Call   int64  `json:"call"`
	Return int64  `json:"return"`
	Code   string `json:"code"`
	State  string `json:"state"`
	beside bool   // another call that changes the VM is under way at some time of this one
	joins  bool   // and that is the same one
	begins bool   // or a creation, in which the VM is at rest for a moment
	ends   bool   // or a destroy: until it is durable, readers still see the VM, and verbs do not
}

type rule struct{ answer, done string }

type table map[string]map[string]rule

// The names of states, comma separated and sorted: porcupine compares them.
type states string

const absent = "absent"

func setOf(names map[string]bool) states {
	list := make([]string, 0, len(names))
	for name := range names {
		list = append(list, name)
	}
	sort.Strings(list)
	text, _ := json.Marshal(list)
	return states(text)
}

func (s states) names() []string {
	var list []string
	_ = json.Unmarshal([]byte(s), &list)
	return list
}

// Where @op leads from @from, if it fits.
func (t table) done(op, from string) (string, bool) {
	if op == "create" {
		if from == absent {
			return "running", true
		}
		return from, true // answered with the VM as it is
	}
	if from == absent {
		return "", false
	}
	if op == "destroy" {
		return absent, true
	}
	r := t[from][op]
	switch r.answer {
	case "go":
		return r.done, true
	case "satisfied":
		return from, true
	}
	return "", false
}

func (t table) after(c call, from states) map[string]bool {
	to := map[string]bool{}
	for _, name := range from.names() {
		if next, fits := t.done(c.Op, name); fits {
			to[next] = true
		}
	}
	return to
}

func only(from states, keep func(string) bool) map[string]bool {
	to := map[string]bool{}
	for _, name := range from.names() {
		if keep(name) {
			to[name] = true
		}
	}
	return to
}

func with(from states, more map[string]bool) map[string]bool {
	for _, name := range from.names() {
		more[name] = true
	}
	return more
}

// An answer that shows a state: one at rest is it; a busy one is another call's doing.
func (t table) shown(c call, to map[string]bool) map[string]bool {
	if _, rests := t[c.State]; !rests || (c.State == "created" && c.begins) {
		if c.beside {
			return to
		}
		return nil
	}
	if !to[c.State] {
		return nil
	}
	return map[string]bool{c.State: true}
}

func (t table) ok(c call, from states) map[string]bool {
	if c.Op == "get" && c.State == "destroying" && c.ends {
		return with(from, map[string]bool{})
	}
	if c.Op == "get" {
		return t.shown(c, only(from, func(s string) bool { return s != absent }))
	}
	to := t.after(c, from)
	if c.Op == "destroy" && c.joins { // both have ended it
		to[absent] = true
	}
	if c.Op == "create" {
		return t.shown(c, to)
	}
	return to
}

func (t table) refused(c call, from states) map[string]bool {
	if !c.beside {
		return only(from, func(s string) bool {
			_, fits := t.done(c.Op, s)
			return s != absent && !fits
		})
	}
	to := with(from, t.after(c, from))
	if c.Op == "create" || c.Op == "start" { // undone
		to["stopped"], to["created"] = true, true
	}
	return to
}

func (t table) step(state, input, output interface{}) (bool, interface{}) {
	c, from := input.(call), state.(states)
	var to map[string]bool
	switch c.Code {
	case "OK":
		to = t.ok(c, from)
	case "FAILED_PRECONDITION":
		to = t.refused(c, from)
	case "NOT_FOUND":
		to = only(from, func(s string) bool { return s == absent })
		if len(to) == 0 && c.ends && c.Op != "get" {
			to = with(from, to)
		}
	case "ALREADY_EXISTS":
		to = only(from, func(s string) bool { return s != absent })
		if len(to) == 0 && c.beside {
			to = with(from, to) // one that was just being destroyed
		}
	case "":
		to = with(from, t.after(c, from))
	}
	return len(to) > 0, setOf(to)
}

func partition(history []porcupine.Operation) [][]porcupine.Operation {
	byVM := map[string][]porcupine.Operation{}
	for _, operation := range history {
		vm := operation.Input.(call).VM
		byVM[vm] = append(byVM[vm], operation)
	}
	parts := make([][]porcupine.Operation, 0, len(byVM))
	for _, part := range byVM {
		parts = append(parts, part)
	}
	return parts
}

func mark(calls []call) {
	for i := range calls {
		for j := range calls {
			a, b := &calls[i], &calls[j]
			if i == j || a.VM != b.VM || b.Op == "get" || a.Return < b.Call || b.Return < a.Call {
				continue
			}
			a.beside = true
			a.joins = a.joins || a.Op == b.Op
			a.begins = a.begins || b.Op == "create"
			a.ends = a.ends || b.Op == "destroy"
		}
	}
}

func readTable(path string) (table, error) {
	var raw map[string]map[string][2]string
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, &raw)
	}
	t := table{}
	for state, ops := range raw {
		t[state] = map[string]rule{}
		for op, words := range ops {
			t[state][op] = rule{words[0], words[1]}
		}
	}
	return t, err
}

func readCalls() ([]call, error) {
	var calls []call
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var c call
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			return nil, err
		}
		if c.Return == 0 {
			c.Return = math.MaxInt64
		}
		calls = append(calls, c)
	}
	return calls, lines.Err()
}

func run() error {
	t, err := readTable(os.Args[1])
	if err != nil {
		return err
	}
	calls, err := readCalls()
	if err != nil {
		return err
	}
	mark(calls)
	history := make([]porcupine.Operation, len(calls))
	for i, c := range calls {
		history[i] = porcupine.Operation{Input: c, Call: c.Call, Output: c, Return: c.Return}
	}
	model := porcupine.Model{
		Partition: partition,
		Init:      func() interface{} { return setOf(map[string]bool{absent: true}) },
		Step:      t.step,
	}
	// "Ok", "Illegal", or "Unknown" if that takes too long.
	fmt.Println(porcupine.CheckOperationsTimeout(model, history, time.Minute))
	return nil
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
