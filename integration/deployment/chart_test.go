package deployment

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/lint"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"sigs.k8s.io/yaml"
)

const chart = "../../deploy/helm/smscancel"

const least = `
kafka: {brokers: [kafka-1:9092]}
api: {key: {secretName: sms}}
`

const most = `
replicaCount: 3
image: {repository: registry.example/smscancel, digest: "sha256:` + zeros + `"}
imagePullSecrets: [{name: pull}]
kafka:
  brokers: [kafka-1:9093, kafka-2:9093]
  requestTopics: [sms.cancel.urgent, sms.cancel.bulk]
  certificates: {secretName: kafka, cert: tls.crt, key: tls.key}
  sasl: {mechanism: scram-sha-512, username: smscancel, secretName: kafka-user}
api: {key: {secretName: sms, key: ""}, caSecret: {secretName: ca}}
settings: {dedupe-window: 168h, window: 50000}
live: {rate-limit: 100, sub-accounts: {acme_shop: {rate-limit: 20}}, paused: {campaigns: [autumn-sale]}, withdrawn-campaigns: [spring-sale]}
podMonitor: {enabled: true, labels: {release: prometheus}}
podAnnotations: {team: messaging}
podLabels: {team: messaging}
nodeSelector: {disk: none}
tolerations: [{key: a, operator: Exists}]
affinity: {nodeAffinity: {}}
priorityClassName: high
serviceAccount: {annotations: {a: b}}
networkPolicy: {from: []}
traces: {endpoint: "http://collector:4318", env: [{name: OTEL_TRACES_SAMPLER_ARG, value: "0.1"}]}
`

const zeros = "0000000000000000000000000000000000000000000000000000000000000000"

// Promise: helm lint finds nothing, whatever is set.
func TestTheChartIsClean(t *testing.T) {
	for name, text := range map[string]string{"least": least, "most": most} {
		for _, m := range lint.RunAll(chart, values(t, text), "sms").Messages {
			if !strings.Contains(m.Error(), "icon is recommended") {
				t.Errorf("%s: %s", name, m.Error())
			}
		}
	}
}

// Promise: what it renders is what Kubernetes knows, no field misspelt.
func TestEveryObjectIsValid(t *testing.T) {
	for text, want := range map[string][]string{
		least: {"ConfigMap", "Deployment", "NetworkPolicy", "PodDisruptionBudget", "ServiceAccount"},
		most:  {"ConfigMap", "Deployment", "NetworkPolicy", "PodDisruptionBudget", "PodMonitor", "ServiceAccount"},
	} {
		objects := render(t, text)
		if got := slices.Sorted(maps.Keys(objects)); !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
		decode(t, objects["ConfigMap"], &corev1.ConfigMap{})
		decode(t, objects["NetworkPolicy"], &networkingv1.NetworkPolicy{})
		decode(t, objects["PodDisruptionBudget"], &policyv1.PodDisruptionBudget{})
		decode(t, objects["ServiceAccount"], &corev1.ServiceAccount{})
		var d appsv1.Deployment
		decode(t, objects["Deployment"], &d)
		checkPod(t, &d)
	}
}

// checkPod: nothing to write, no rights, probes that reach the server, every
// mount has its volume, and the kubelet waits until the worker has drained.
func checkPod(t *testing.T, d *appsv1.Deployment) {
	pod := d.Spec.Template.Spec
	c := pod.Containers[0]
	s := c.SecurityContext
	if !*pod.SecurityContext.RunAsNonRoot || !*s.ReadOnlyRootFilesystem || *s.AllowPrivilegeEscalation || s.Capabilities.Drop[0] != "ALL" ||
		pod.SecurityContext.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault || *pod.AutomountServiceAccountToken {
		t.Errorf("the pod may more than it needs: %+v, %+v", pod.SecurityContext, s)
	}
	if *pod.TerminationGracePeriodSeconds <= 25 {
		t.Errorf("it is killed after %d s, within --drain-timeout", *pod.TerminationGracePeriodSeconds)
	}
	env := map[string]string{}
	for _, e := range c.Env {
		env[e.Name] = e.Value
	}
	if env["SMSCANCEL_HTTP_ADDR"] != ":8080" || c.Ports[0].ContainerPort != 8080 || c.LivenessProbe.HTTPGet.Path != "/healthz" || c.ReadinessProbe.HTTPGet.Path != "/readyz" {
		t.Errorf("probes do not reach the server: %+v, %+v, %+v", env, c.LivenessProbe, c.ReadinessProbe)
	}
	volumes := map[string]bool{}
	for _, v := range pod.Volumes {
		volumes[v.Name] = true
	}
	for _, m := range c.VolumeMounts {
		if !volumes[m.Name] || m.SubPath != "" || !m.ReadOnly {
			t.Errorf("mount %+v", m)
		}
		delete(volumes, m.Name)
	}
	if len(volumes) > 0 {
		t.Errorf("volumes without a mount: %v", volumes)
	}
	for k, v := range d.Spec.Selector.MatchLabels {
		if d.Spec.Template.Labels[k] != v {
			t.Errorf("the selector's %s=%s is not on the pod", k, v)
		}
	}
}

// Promise: a change of what is live restarts no pod; another setting does.
func TestOnlySettingsRestartPods(t *testing.T) {
	before := render(t, least)["Deployment"]
	if after := render(t, least+"live: {rate-limit: 10, paused: true}\n")["Deployment"]; after != before {
		t.Error("a pause restarts every pod")
	}
	if after := render(t, least+"settings: {window: 100}\n")["Deployment"]; after == before {
		t.Error("a setting that is read at the start restarts no pod")
	}
}

// Promise: with a collector the pod knows it and may reach it, and else neither.
func TestTracesReachTheCollector(t *testing.T) {
	for text, want := range map[string]bool{least: false, most: true} {
		var d appsv1.Deployment
		var policy networkingv1.NetworkPolicy
		objects := render(t, text)
		decode(t, objects["Deployment"], &d)
		decode(t, objects["NetworkPolicy"], &policy)
		env := d.Spec.Template.Spec.Containers[0].Env
		knows := slices.Contains(env, corev1.EnvVar{Name: "OTEL_EXPORTER_OTLP_ENDPOINT", Value: "http://collector:4318"}) &&
			slices.Contains(env, corev1.EnvVar{Name: "OTEL_TRACES_SAMPLER_ARG", Value: "0.1"})
		reaches := slices.ContainsFunc(policy.Spec.Egress[1].Ports, func(p networkingv1.NetworkPolicyPort) bool { return p.Port.IntValue() == 4318 })
		if knows != want || reaches != want {
			t.Errorf("%s: the pod knows the collector: %v, may reach it: %v", text, knows, reaches)
		}
	}
}

// Promise: what cannot work is refused by its name.
func TestMistakesAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		"api: {key: {secretName: sms}}":                               "kafka.brokers is required",
		"kafka: {brokers: ['k:9092']}":                                "api.key.secretName is required",
		"kafka: {brokers: [k]}\napi: {key: {secretName: sms}}":        "brokers",
		least + "live: {brokers: [a]}\n":                              "brokers",
		least + "replicas: 3\n":                                       "replicas",
		strings.Replace(least, "}", ", sasl: {mechanism: plain}}", 1): "kafka.sasl.secretName is required",
		strings.Replace(least, "}", ", sasl: {mechanism: oauth}}", 1): "mechanism",
		strings.Replace(least, "key: {", "url: 'ftp://x', key: {", 1): "url",
		least + "traces: {endpoint: 'collector:4317'}\n":              "endpoint",
	} {
		if _, err := tryRender(t, text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

func render(t *testing.T, text string) map[string]string {
	objects, err := tryRender(t, text)
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

// tryRender returns the objects by their kind.
func tryRender(t *testing.T, text string) (map[string]string, error) {
	c, err := loader.LoadDir(chart)
	if err != nil {
		t.Fatal(err)
	}
	release := common.ReleaseOptions{Name: "sms", Namespace: "sms", Revision: 1, IsInstall: true}
	all, err := util.ToRenderValuesWithSchemaValidation(c, values(t, text), release, common.DefaultCapabilities, false)
	if err != nil {
		return nil, err
	}
	files, err := engine.Render(c, all)
	if err != nil {
		return nil, err
	}
	objects := map[string]string{}
	for name, content := range files {
		if strings.HasSuffix(name, ".yaml") && strings.TrimSpace(content) != "" {
			var head struct{ Kind string }
			if err := yaml.Unmarshal([]byte(content), &head); err != nil {
				t.Fatalf("%s: %v\n%s", name, err, content)
			}
			objects[head.Kind] = content
		}
	}
	return objects, nil
}

func values(t *testing.T, text string) map[string]any {
	v := map[string]any{}
	if err := yaml.UnmarshalStrict([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func decode(t *testing.T, text string, into any) {
	t.Helper()
	if err := yaml.UnmarshalStrict([]byte(text), into); err != nil {
		t.Fatalf("%T: %v\n%s", into, err, text)
	}
}
