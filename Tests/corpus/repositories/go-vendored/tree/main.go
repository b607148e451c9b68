package main

import (
	"fmt"
	"net/http"
	"os"

	"example.org/greet"
)

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, greet.Hello()) })
	panic(http.ListenAndServe(":"+os.Getenv("PORT"), nil))
}
