package kafkatest

import (
	"os"
	"strings"
	"testing"
)

func TestRecipeBuildsTheVersionThatIsLookedFor(t *testing.T) {
	recipe, err := os.ReadFile("../../deploy/kafka-image/pom.xml")
	if err != nil {
		t.Fatal(err)
	}
	if want := "<kafka.version>" + kafkaVersion + "</kafka.version>"; !strings.Contains(string(recipe), want) {
		t.Errorf("deploy/kafka-image/pom.xml does not say %s", want)
	}
}
